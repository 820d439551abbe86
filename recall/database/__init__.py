"""The way to the database: units of work on connections kept warm, and a bell."""
