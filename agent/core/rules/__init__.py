"""The rules of the table in `machine.py`. Each applies one observation to a record; none requests an effect. Pure."""
