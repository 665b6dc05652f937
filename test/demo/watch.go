// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// tableFormat asks the API server for the table that kubectl prints; only the server knows the columns.
const tableFormat = "application/json;as=Table;v=v1;g=meta.k8s.io"

// change is one row that was added, changed or deleted.
type change struct {
	path    string
	kind    string // ADDED, MODIFIED, DELETED
	columns []metav1.TableColumnDefinition
	row     metav1.TableRow
	// err ends the watch.
	err error
}

// decode reads the whole object of the row.
func (c change) decode(into any) error {
	if err := json.Unmarshal(c.row.Object.Raw, into); err != nil {
		return fmt.Errorf("read an object of %s: %w", c.path, err)
	}
	return nil
}

// errBusy : the API server asks for patience; its caches are being filled.
var errBusy = errors.New("the API server is busy")

// watchTable sends the rows of a resource as they change until ctx ends. path is below the API server's root. Should the
// watch end earlier, or not begin, a change with err says so.
func watchTable(ctx context.Context, config *rest.Config, path string, changes chan<- change) error {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	go func() {
		defer cancel()
		var ended error
		err := testenv.Wait(bounded, func() error {
			ended = follow(ctx, client, strings.TrimSuffix(config.Host, "/"), path, changes)
			if errors.Is(ended, errBusy) {
				return ended
			}
			return nil
		})
		send(ctx, changes, change{path: path, err: fmt.Errorf("watch %s: %w", path, cmp.Or(err, ended))})
	}()
	return nil
}

// follow reads one watch until it ends, which is always an error.
func follow(ctx context.Context, client *http.Client, server, path string, changes chan<- change) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+path+"?watch=true&includeObject=Object", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", tableFormat)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return stream(ctx, path, response.Body, changes)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %s", errBusy, response.Status)
	}
	return fmt.Errorf("the API server answered %s", response.Status)
}

// stream reads watch events. The columns come with the first one only.
func stream(ctx context.Context, path string, body io.Reader, changes chan<- change) error {
	decoder := json.NewDecoder(body)
	var columns []metav1.TableColumnDefinition
	for {
		var event metav1.WatchEvent
		if err := decoder.Decode(&event); err != nil {
			return err
		}
		var table metav1.Table
		if err := json.Unmarshal(event.Object.Raw, &table); err != nil {
			return fmt.Errorf("read a table: %w", err)
		}
		if table.Kind != "Table" {
			return fmt.Errorf("the API server ended it: %s", event.Object.Raw)
		}
		if len(table.ColumnDefinitions) > 0 {
			columns = table.ColumnDefinitions
		}
		for _, row := range table.Rows {
			send(ctx, changes, change{path: path, kind: event.Type, columns: columns, row: row})
		}
	}
}

func send(ctx context.Context, changes chan<- change, c change) {
	select {
	case changes <- c:
	case <-ctx.Done():
	}
}
