"""`store copy`: a store on one engine becomes a store on the other, row by row and verified."""
