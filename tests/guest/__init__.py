"""What stock drivers in guests do with our devices: one file per subject, every test a cell of the matrix."""
