//! Pure translation: resources in, configuration, statuses and findings out.
