//! Certificates as values: parsing, names, validity, key agreement.
