// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"text/template"
	"unicode/utf8"
)

// Limits of one rendering, all templates of a Secret together unless it says otherwise. A template that is meant well needs
// a hundredth of them; a hostile one ends within a second.
const (
	// maxText is the length of one template in characters, as in the CRD, and maxSource that of all in bytes.
	maxText   = 16 << 10
	maxSource = 256 << 10
	// maxOutput is what all keys, labels and annotations may hold, in bytes.
	maxOutput = 64 << 10
	// maxSteps is how many parts of templates are evaluated: each turn of a loop counts its body again.
	maxSteps = 100_000
	// maxValue is how large a value may be that goes into or comes out of a function, with all that it holds.
	maxValue = 128 << 10
	// maxWork is the sum of these.
	maxWork = 8 << 20
	// maxNesting is how deep lists and maps may hold each other.
	maxNesting = 16
	// valueCost is what a value costs beside its text.
	valueCost = 16
)

// budget is what is left of the limits.
type budget struct{ text, steps, work, written int }

func newBudget() *budget {
	return &budget{text: maxSource, steps: maxSteps, work: maxWork, written: maxOutput}
}

// source takes a template's text from the budget.
func (b *budget) source(text string) error {
	if utf8.RuneCountInString(text) > maxText {
		return refuse(fmt.Sprintf("the template is longer than %d characters", maxText))
	}
	if b.text -= len(text); b.text < 0 {
		return refuse(fmt.Sprintf("the templates of a Secret have more than %d KiB together", maxSource>>10))
	}
	return nil
}

// spend takes work from the budget.
func (b *budget) spend(work int) error {
	if b.work -= work; b.work < 0 {
		return refuse("the templates of this Secret take too much work")
	}
	return nil
}

// write takes output from the budget.
func (b *budget) write(bytes int) error {
	if b.written -= bytes; b.written < 0 {
		return refuse(fmt.Sprintf("the Secret would have more than %d KiB", maxOutput>>10))
	}
	return nil
}

// output takes what it is given from the budget.
type output struct {
	budget *budget
	to     io.Writer
}

func (o *output) Write(p []byte) (int, error) {
	if err := o.budget.write(len(p)); err != nil {
		return 0, err
	}
	return o.to.Write(p)
}

// Names of the functions that parseBounded puts into templates. Templates cannot call them: the parser does not know them.
const (
	stepControl  = "_step"
	rangeControl = "_range"
	printControl = "_print"
)

// controls returns those functions.
func (b *budget) controls() template.FuncMap {
	return template.FuncMap{stepControl: b.step, rangeControl: b.iterate, printControl: printable}
}

// step begins a list of nodes.
func (b *budget) step(nodes int) (string, error) {
	if b.steps -= nodes; b.steps < 0 {
		return "", refuse("the templates of this Secret take too many steps; their loops go round too often")
	}
	return "", nil
}

// iterate lets loops go over lists and maps alone, and takes what they hold as work: the engine sorts the keys of a map
// before the first turn, even if there is no second one.
func (b *budget) iterate(v any) (any, error) {
	value := reflect.ValueOf(v)
	switch value.Kind() {
	case reflect.Invalid, reflect.Slice, reflect.Map:
		return v, b.charge(value)
	default:
		return nil, refuse("range goes over lists and maps alone")
	}
}

// printable returns the text of a value that a template writes. What Go prints for the others ("<no value>", "[a b]",
// "map[a:b]") is never what a workload reads.
func printable(v any) (string, error) {
	switch kind := reflect.ValueOf(v).Kind(); {
	case kind == reflect.String, kind == reflect.Bool, isNumber(kind):
		return fmt.Sprint(v), nil
	case kind == reflect.Invalid:
		return "", refuse("there is no value to write; `default` gives one")
	default:
		return "", refuse("a list or a map is no text; `join` and `toJson` make one of it")
	}
}

func isNumber(kind reflect.Kind) bool { return isInteger(kind) || isFloat(kind) }

func isInteger(kind reflect.Kind) bool { return kind >= reflect.Int && kind <= reflect.Uintptr }

func isFloat(kind reflect.Kind) bool { return kind == reflect.Float32 || kind == reflect.Float64 }

// weigh returns what a value costs with all that it holds, each time that it is held. Values that were built by doubling
// cost what they would be as text, so that nothing that prints them can explode. Only plain values pass: no methods.
func weigh(v reflect.Value) (int, error) {
	left := maxValue
	if err := weighInto(&left, v, maxNesting); err != nil {
		return 0, err
	}
	return maxValue - left, nil
}

func weighInto(left *int, v reflect.Value, depth int) error {
	if *left -= valueCost; *left < 0 {
		return tooLarge()
	}
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if depth == 0 || !isPlain(v) {
		return refuse("a value is nested too deeply or of a kind that templates cannot use")
	}
	switch kind := v.Kind(); kind {
	default: // Its cost has been paid.
	case reflect.String:
		if *left -= v.Len(); *left < 0 {
			return tooLarge()
		}
	case reflect.Slice, reflect.Map:
		for key, value := range v.Seq2() {
			if kind == reflect.Map {
				*left -= valueCost + key.Len()
			}
			if err := weighInto(left, value, depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// isPlain tells whether a value is nothing, a text, a number, a boolean, or a list or map with texts as keys; without
// methods.
func isPlain(v reflect.Value) bool {
	if !v.IsValid() {
		return true
	}
	t := v.Type()
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Slice:
		return t.NumMethod() == 0
	case reflect.Map:
		return t.NumMethod() == 0 && t.Key().Kind() == reflect.String
	default:
		return t.NumMethod() == 0 && isNumber(t.Kind())
	}
}

func tooLarge() error {
	return refuse(fmt.Sprintf("a value has more than %d KiB", maxValue>>10))
}

// bind returns the function for one rendering: of the same type, but for an error that it also returns. Arguments and
// results are weighed, and what it says when it fails is not shown.
func (b *budget) bind(name string, f function) any {
	of := reflect.ValueOf(f.of)
	if f.budgeted {
		of = of.Call([]reflect.Value{reflect.ValueOf(b)})[0].Elem()
	}
	result, failure := of.Type().Out(0), reflect.TypeFor[error]()
	signature := reflect.FuncOf(slices.Collect(of.Type().Ins()), []reflect.Type{result, failure}, of.Type().IsVariadic())
	return reflect.MakeFunc(signature, func(args []reflect.Value) []reflect.Value {
		value, err := b.call(name, of, args)
		if err != nil {
			return []reflect.Value{reflect.Zero(result), reflect.ValueOf(&err).Elem()}
		}
		return []reflect.Value{value, reflect.Zero(failure)}
	}).Interface()
}

func (b *budget) call(name string, of reflect.Value, args []reflect.Value) (value reflect.Value, err error) {
	for _, arg := range args {
		if err := b.charge(arg); err != nil {
			return value, err
		}
	}
	defer func() {
		// Sprig panics on what it cannot use, and quotes it.
		if recover() != nil {
			err = refuse(name + " cannot use these values")
		}
	}()
	call := of.Call
	if of.Type().IsVariadic() {
		call = of.CallSlice
	}
	results := call(args)
	if len(results) > 1 && !results[1].IsNil() {
		if refused, ok := reflect.TypeAssert[*refusedError](results[1].Elem()); ok {
			return value, refused
		}
		return value, refuse(name + " cannot use these values")
	}
	return results[0], b.charge(results[0])
}

func (b *budget) charge(v reflect.Value) error {
	weight, err := weigh(v)
	if err != nil {
		return err
	}
	return b.spend(weight)
}
