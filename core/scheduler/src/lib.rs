//! From a configuration and a status to a plan: what should run where, and the way there.
