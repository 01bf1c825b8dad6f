"""Published archives: fetched, checked and unpacked, so that nothing half-made ever counts."""
