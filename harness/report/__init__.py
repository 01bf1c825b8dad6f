"""What people read, made from the store alone: tables, figures, overlays and one page. No torch."""
