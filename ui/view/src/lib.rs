//! The status of a cluster as a value, and its renderings.
