"""The audit, as every engine has it: checkpoints, requests for an auditor, and the verification of an export."""
