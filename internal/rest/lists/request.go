// SPDX-License-Identifier: Apache-2.0

package lists

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// Query parameters of lists.
const (
	// ParameterStatus filters by status; several are separated by commas.
	ParameterStatus = "status.in"
	// ParameterApplication filters connections by the application's UID or {namespace}.{name}.
	ParameterApplication = "oauth_application_id"
	// ParameterCursor is next_cursor of the page before.
	ParameterCursor = "cursor"
	// ParameterLimit is how many objects a page has at most, from 1 to MaxLimit.
	ParameterLimit = "limit"
)

// MaxLimit is how many objects a page has at most, and unless the caller wants fewer.
const MaxLimit = 100

// maxID bounds the text that names an application.
const maxID = 512

// request is what a list can be asked for.
type request struct {
	// statuses that there are.
	statuses []string
	// byApplication : ParameterApplication is known.
	byApplication bool
}

// asked is what a list was asked for.
type asked struct {
	// statuses are nil for all.
	statuses []string
	// application is empty for all.
	application string
	after       directory.Cursor
	limit       int
}

// read reads the parameters; those that it does not know are ignored. Errors name the parameter, and do not repeat what was sent.
func (known request) read(r *http.Request, statuses []string) (asked, error) {
	read := asked{statuses: statuses, limit: MaxLimit}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return read, problem.New(problem.InvalidRequest, "the query is not encoded as a URL's has to be")
	}
	for _, parameter := range []string{ParameterStatus, ParameterApplication, ParameterCursor, ParameterLimit} {
		if err := once(query, parameter); err != nil {
			return read, err
		}
	}
	if given := query[ParameterStatus]; given != nil {
		if read.statuses, err = known.readStatuses(given); err != nil {
			return read, err
		}
	}
	if given := query.Get(ParameterLimit); given != "" {
		if read.limit, err = strconv.Atoi(given); err != nil || read.limit < 1 || read.limit > MaxLimit {
			return read, problem.New(problem.InvalidRequest, "%s has to be a number from 1 to %d", ParameterLimit, MaxLimit)
		}
	}
	if given := query.Get(ParameterCursor); given != "" {
		if read.after, err = directory.ParseCursor(given); err != nil {
			return read, problem.New(problem.InvalidRequest, "%s has to be the next_cursor of an earlier answer", ParameterCursor)
		}
	}
	if known.byApplication {
		if read.application = query.Get(ParameterApplication); len(read.application) > maxID {
			return read, problem.New(problem.InvalidRequest, "%s has more than %d characters", ParameterApplication, maxID)
		}
	}
	return read, nil
}

// once refuses what could be meant in two ways: a parameter with two values, and one with none. Whoever sends an empty cursor
// after the last page would begin again, and an empty application would be all of them.
func once(query url.Values, parameter string) error {
	switch given := query[parameter]; {
	case given != nil && strings.Join(given, "") == "":
		return problem.New(problem.InvalidRequest, "%s has no value; leave it out or give one", parameter)
	case len(given) > 1 && parameter != ParameterStatus:
		return problem.New(problem.InvalidRequest, "%s is given more than once", parameter)
	default:
		return nil
	}
}

func (known request) readStatuses(given []string) ([]string, error) {
	read := strings.Split(strings.Join(given, ","), ",")
	for _, status := range read {
		if !slices.Contains(known.statuses, status) {
			return nil, problem.New(problem.InvalidRequest, "%s has to be of %s, separated by commas",
				ParameterStatus, strings.Join(known.statuses, ", "))
		}
	}
	return read, nil
}

// slug reads {namespace}.{name}. A namespace has no dot, and neither has a UID.
func slug(id string) (types.NamespacedName, bool) {
	namespace, name, found := strings.Cut(id, ".")
	return types.NamespacedName{Namespace: namespace, Name: name}, found && namespace != "" && name != ""
}
