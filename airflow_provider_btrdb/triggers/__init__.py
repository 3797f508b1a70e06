"""The asyncio halves of the sensors, run by the triggerer."""
