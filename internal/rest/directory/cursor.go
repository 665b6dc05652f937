// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// maxCursor bounds the text of a cursor; a UID takes less.
const maxCursor = 1024

// ErrCursor says that a text is no cursor.
var ErrCursor = errors.New("not a cursor of this API")

// Cursor is a place in the order: what comes after it has not been listed yet. Because it names the place and not the object,
// it stays right when objects come and go, and in every process. The zero Cursor is the beginning.
type Cursor struct {
	// created is the time of creation of the last object that was listed, in seconds since 1970.
	created int64
	uid     types.UID
}

// cursorText is the form of a cursor.
type cursorText struct {
	Created int64     `json:"created"`
	UID     types.UID `json:"uid"`
}

// String returns the cursor as text for callers: base64url, without padding, of JSON.
func (c Cursor) String() string {
	content, err := json.Marshal(cursorText{Created: c.created, UID: c.uid})
	if err != nil { // A number and a string always can be.
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(content)
}

// ParseCursor reads what String has written. The error wraps ErrCursor and does not repeat the text.
func ParseCursor(text string) (Cursor, error) {
	if len(text) > maxCursor {
		return Cursor{}, fmt.Errorf("%w: %d bytes", ErrCursor, len(text))
	}
	content, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Cursor{}, fmt.Errorf("%w: not base64url", ErrCursor)
	}
	var read cursorText
	if err := json.Unmarshal(content, &read); err != nil {
		return Cursor{}, fmt.Errorf("%w: no JSON in it", ErrCursor)
	}
	cursor := Cursor{created: read.Created, uid: read.UID}
	if cursor.uid == "" || cursor.String() != text {
		return Cursor{}, fmt.Errorf("%w: not as it was given out", ErrCursor)
	}
	return cursor, nil
}
