"""From result files to the numbers of a table; no network and no tracker."""
