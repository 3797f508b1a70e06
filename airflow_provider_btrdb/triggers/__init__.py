"""The asyncio halves of the sensors, run by the triggerer, and the triggers of asset watchers."""
