//! The Bitsect node.
