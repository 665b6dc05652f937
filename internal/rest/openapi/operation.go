// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/swaggest/openapi-go"
	"github.com/swaggest/openapi-go/openapi31"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	// bearer is the name of the security scheme.
	bearer = "kubernetes"

	// restOfPath is the parameter that takes the rest of the path.
	restOfPath = "path"

	typeJSON = "application/json"
	typeAny  = "*/*"
)

// Operation is one method of one path of the API.
type Operation struct {
	Method string
	// Path is a pattern of http.ServeMux without "..."; a parameter that is called path takes the rest of the path.
	Path string
	// ID, Tag, Summary and Description are for people and generators.
	ID, Tag, Summary, Description string
	// Parameters is a struct whose fields are parameters; nil: there are none.
	Parameters any
	// Body is a struct in JSON; nil: there is none.
	Body any
	// BodyAny : the body may be anything.
	BodyAny bool
	Answers []Answer
	// Problems are what it answers with beside those of every operation.
	Problems []problem.Code
	// Proxied : any other answer is the provider's.
	Proxied bool
	// Public : nobody has to say who they are.
	Public bool
}

// Answer is an answer that is no problem.
type Answer struct {
	Status      int
	Description string
	// Body is what is written in JSON; nil: there is none.
	Body any
	// Headers is a struct whose fields are headers; nil: there are none worth a word.
	Headers any
}

// everywhere are the problems of each operation.
func everywhere() []problem.Code {
	return []problem.Code{problem.Unauthenticated, problem.Internal, problem.ClusterUnavailable}
}

func (o Operation) add(reflector *openapi31.Reflector) error {
	oc, err := reflector.NewOperationContext(o.Method, o.Path)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	oc.SetID(o.ID)
	oc.SetTags(o.Tag)
	oc.SetSummary(o.Summary)
	if o.Description != "" {
		oc.SetDescription(o.Description)
	}
	if !o.Public {
		oc.AddSecurity(bearer)
	}
	o.addRequest(oc)
	for _, answer := range o.Answers {
		addAnswer(oc, answer)
	}
	o.addProblems(oc, reflector.SpecEns().ComponentsEns())
	if o.Proxied {
		oc.AddRespStructure(proxyHeaders{}, func(unit *openapi.ContentUnit) {
			unit.IsDefault, unit.ContentType = true, typeAny
			unit.Description = "The provider's answer as it came, whatever its status: without the header " + problem.Header + "."
			unit.Customize = free
		})
	}
	if err := reflector.AddOperation(oc); err != nil {
		return fmt.Errorf("reflect: %w", err)
	}
	exposed, ok := oc.(openapi31.OperationExposer)
	if !ok {
		return errors.New("the operation cannot be seen")
	}
	for _, parameter := range exposed.Operation().Parameters {
		if parameter.Parameter != nil && parameter.Parameter.Name == restOfPath {
			parameter.Parameter.WithMapOfAnythingItem(ExtensionRest, true)
		}
	}
	return nil
}

func (o Operation) addRequest(oc openapi.OperationContext) {
	if o.Parameters != nil {
		oc.AddReqStructure(o.Parameters)
	}
	if o.Body != nil {
		oc.AddReqStructure(o.Body, openapi.WithContentType(typeJSON), openapi.WithCustomize(func(body openapi.ContentOrReference) {
			if request, ok := body.(*openapi31.RequestBodyOrReference); ok && request.RequestBody != nil {
				request.RequestBody.WithRequired(true)
			}
		}))
	}
	if o.BodyAny {
		oc.AddReqStructure(nil, openapi.WithContentType(typeAny), openapi.WithCustomize(func(body openapi.ContentOrReference) {
			if request, ok := body.(*openapi31.RequestBodyOrReference); ok && request.RequestBody != nil {
				request.RequestBody.WithDescription("The body of the request to the provider, as it is.").
					WithContentItem(typeAny, openapi31.MediaType{})
			}
		}))
	}
}

func addAnswer(oc openapi.OperationContext, answer Answer) {
	oc.AddRespStructure(answer.Body, openapi.WithHTTPStatus(answer.Status), describe(answer.Description))
	if answer.Headers != nil { // The last structure says which headers there are.
		oc.AddRespStructure(answer.Headers, openapi.WithHTTPStatus(answer.Status), describe(answer.Description))
	}
}

func describe(text string) openapi.ContentOption {
	return func(unit *openapi.ContentUnit) { unit.Description = text }
}

// problemHeaders are the headers of problems.
type problemHeaders struct {
	Code string `header:"Oauth-Operator-Error" description:"The code of the problem."`
}

// retryHeaders are the headers of problems that pass.
type retryHeaders struct {
	problemHeaders
	RetryAfter int `header:"Retry-After" description:"In how many seconds another attempt is worth it, where that is known."`
}

// addProblems groups the problems by their status. Operations with the same ones share them.
func (o Operation) addProblems(oc openapi.OperationContext, shared *openapi31.Components) {
	byStatus := map[int][]string{}
	common := everywhere()
	if o.Public {
		common = []problem.Code{problem.Internal}
	}
	for _, code := range slices.Concat(o.Problems, common) {
		byStatus[code.Status()] = append(byStatus[code.Status()], string(code))
	}
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		codes := byStatus[status]
		slices.Sort(codes)
		codes = slices.Compact(codes)
		text := http.StatusText(status) + ": " + strings.Join(codes, ", ") + "."
		name := strconv.Itoa(status) + "-" + strings.Join(codes, "-")
		if o.Proxied {
			text += " Without the header " + problem.Header + " the answer is the provider's."
			name = "proxied-" + name
		}
		oc.AddRespStructure(problem.Error{}, openapi.WithHTTPStatus(status), openapi.WithContentType(problem.ContentType), describe(text))
		oc.AddRespStructure(headersOf(status), openapi.WithHTTPStatus(status), openapi.WithCustomize(func(answer openapi.ContentOrReference) {
			response, ok := answer.(*openapi31.ResponseOrReference)
			if !ok || response.Response == nil {
				return
			}
			response.Response.WithMapOfAnythingItem(ExtensionCodes, codes)
			if o.Proxied {
				response.Response.WithContentItem(typeAny, openapi31.MediaType{})
			}
			shared.WithResponsesItem(name, openapi31.ResponseOrReference{Response: response.Response})
			response.SetReference("#/components/responses/" + name)
		}))
	}
}

// headersOf are the headers of problems with a status.
func headersOf(status int) any {
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || status == http.StatusConflict {
		return retryHeaders{}
	}
	return problemHeaders{}
}

// free takes the schema from what may be anything.
func free(answer openapi.ContentOrReference) {
	if response, ok := answer.(*openapi31.ResponseOrReference); ok && response.Response != nil {
		response.Response.WithContentItem(typeAny, openapi31.MediaType{})
	}
}
