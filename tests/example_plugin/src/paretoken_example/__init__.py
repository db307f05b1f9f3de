"""A package of plug-ins for paretoken, one of each kind that has a conformance suite."""
