"""What all subjects share: light spans, the per-request record, call sites, masking."""
