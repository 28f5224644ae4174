# Configuration and packaging of an extension, which the host does not need.
