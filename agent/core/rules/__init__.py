"""The rules of the table in `machine.py`: each folds one observation into a record. Pure; they ask for nothing."""
