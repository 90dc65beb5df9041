//! HTTP heads, codecs and conversions.
