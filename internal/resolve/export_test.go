package resolve

// SourceName is sourceName, for tests.
var SourceName = sourceName
