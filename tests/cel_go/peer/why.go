package main

import (
	"regexp"
	"strings"
)

var overload = regexp.MustCompile(`no matching overload for '([^']+)'`)

// causeOf says in a word, for ../differ.c, why cel-go refused an expression or could not plan it:
// the function of which no overload fits, or one of the causes below.
func causeOf(err error) string {
	text := err.Error()
	if found := overload.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	for _, cause := range []struct{ holds, word string }{
		{"reference to undefined type", "type-variable"},
		{"error during formatting", "format"},
		{"invalid ip argument", "address"},
		{"invalid cidr argument", "address"},
		{"math.least()", "math"},
		{"math.greatest()", "math"},
		{"sortBy can only be applied", "sort"},
	} {
		if strings.Contains(text, cause.holds) {
			return cause.word
		}
	}
	return "other"
}
