// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// console prints the story. Nothing that it is given may hold a credential.
type console struct {
	out   io.Writer
	steps int
	// quiet keeps rows and events to itself, while the terminal is the reader's.
	quiet  bool
	widths map[string]int
	// headed : the header of the table of connections stands under the present heading.
	headed bool
	// rows are the cells last printed for each connection, its age apart.
	rows map[string][]string
}

func newConsole(out io.Writer) *console {
	return &console{
		out: out, rows: map[string][]string{},
		// Wide enough for what comes later, so that the columns of rows printed one by one stay in line.
		widths: map[string]int{"Name": 10, "Phase": 11, "Expires": 20, "Next refresh": 20},
	}
}

// say prints a line. A writer that fails is the reader's terminal that has gone: nobody is left to tell.
func (c *console) say(format string, arguments ...any) {
	_, _ = fmt.Fprintf(c.out, format+"\n", arguments...)
}

func (c *console) step(title string) {
	c.steps++
	c.headed = false
	c.say("\n== %d. %s", c.steps, title)
}

// command prints what one would type for what happens next.
func (c *console) command(format string, arguments ...any) {
	c.headed = false
	c.say("\n$ "+format, arguments...)
}

// row prints a row of the API server's own table, as `kubectl get --watch` does, unless only the age has changed.
func (c *console) row(columns []metav1.TableColumnDefinition, row metav1.TableRow) {
	var header, line, key []string
	for i, column := range columns {
		if column.Priority > 0 {
			continue
		}
		cell := ""
		if value := row.Cells[i]; value != nil {
			cell = fmt.Sprint(value)
		}
		width := max(c.widths[column.Name], len(column.Name), len(cell))
		c.widths[column.Name] = width
		header = append(header, fmt.Sprintf("%-*s", width, strings.ToUpper(column.Name)))
		line = append(line, fmt.Sprintf("%-*s", width, cell))
		if column.Name != "Age" {
			key = append(key, cell)
		}
	}
	if c.quiet || len(key) == 0 || slices.Equal(c.rows[key[0]], key) {
		return
	}
	c.rows[key[0]] = key
	if !c.headed {
		c.say("  %s", strings.TrimRight(strings.Join(header, "   "), " "))
		c.headed = true
	}
	c.say("  %s", strings.TrimRight(strings.Join(line, "   "), " "))
}

// event prints an event as a line between the rows.
func (c *console) event(kind, reason, object, note string) {
	if c.quiet {
		return
	}
	c.say("  > event: %s %s %s: %s", kind, reason, object, note)
}
