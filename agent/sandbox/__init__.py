"""A simulator of the Assure API for PictureID. It stands alone and imports nothing of the agent."""
