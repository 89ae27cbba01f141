//! Fence devices, their targets, topology, retries and history.
