"""The functional core: values and pure functions. No I/O, no clock, no logging, no asyncio."""
