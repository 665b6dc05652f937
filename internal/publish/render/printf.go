// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// maxPadding is the largest width and the largest precision of a verb.
const maxPadding = 256

// printf is fmt.Sprintf for formats that fit their values. Each value is written once and padded a little at most, so that
// what comes out is not much more than what went in; and no complaint of fmt ("%!d(string=…)") gets into a Secret.
func printf(format string, values ...any) (string, error) {
	// Flags, width, precision and verb.
	verbs := regexp.MustCompile(`%([+\-# 0]*)(\d*)((?:\.\d*)?)(.?)`).FindAllStringSubmatch(format, -1)
	next, padding := 0, 0
	for _, verb := range verbs {
		if verb[0] == "%%" {
			continue
		}
		if next == len(values) {
			return "", refuse("printf has more verbs than values")
		}
		if !fits(verb[4], values[next]) {
			return "", refuse("the verbs of printf do not fit its values; there are %s, %q, %v, %x, %d, %o, %b, %c, %t, %e, %f " +
				"and %g, without * and [n]")
		}
		next++
		for _, number := range []string{verb[2], strings.TrimPrefix(verb[3], ".")} {
			n, err := strconv.Atoi(number)
			if number != "" && (err != nil || n > maxPadding) {
				return "", refuse(fmt.Sprintf("width and precision of printf are at most %d", maxPadding))
			}
			padding += n
		}
	}
	if next < len(values) {
		return "", refuse("printf has more values than verbs")
	}
	if padding > maxValue {
		return "", tooLarge()
	}
	return fmt.Sprintf(format, values...), nil
}

// fits tells whether a verb can write a value.
func fits(verb string, value any) bool {
	kind := reflect.ValueOf(value).Kind()
	if verb == "" || kind == reflect.Invalid {
		return false
	}
	switch {
	case strings.Contains("v", verb):
		return true
	case strings.Contains("sq", verb):
		return kind == reflect.String
	case strings.Contains("xX", verb):
		return kind == reflect.String || isInteger(kind)
	case strings.Contains("dobcU", verb):
		return isInteger(kind)
	case strings.Contains("eEfFgG", verb):
		return isFloat(kind)
	case strings.Contains("t", verb):
		return kind == reflect.Bool
	}
	return false
}
