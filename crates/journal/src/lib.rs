//! The durable, ordered record of what happened to machines: one sequence number for all, on disk before it is given out.
