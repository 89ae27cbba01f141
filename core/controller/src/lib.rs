//! The replicated configuration and status of a node, and the leader that carries plans out.
