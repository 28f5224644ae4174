"""One window with the module's own panel and four views, and a simulated scanner as another process."""
