//! Bitcoin for Bitsect.
