package portolan

import (
	"errors"
	"fmt"
)

// What [errors.Is] finds in errors of this package.
var (
	// ErrNoEngine: the program was built without cgo.
	ErrNoEngine = errors.New("portolan: built without the engine: build with CGO_ENABLED=1 and a C compiler, " +
		"after `cargo build --release -p portolan-ffi`")
	// ErrClosed: the handle was closed.
	ErrClosed = errors.New("portolan: closed")
	// ErrAgain: a worker is still in a burst that reads an older generation. Nothing is lost: publish again.
	ErrAgain = errors.New("portolan: a worker still reads an older generation: publish again")
	// ErrInvalid: a value is not allowed.
	ErrInvalid = errors.New("portolan: a value is not allowed")
	// ErrState: the handle is not in a state for this call.
	ErrState = errors.New("portolan: the handle is not in a state for this call")
	// ErrLimit: a capacity in Limits is used up.
	ErrLimit = errors.New("portolan: a limit is used up")
	// ErrMemory: the memory that the limits ask for cannot be had.
	ErrMemory = errors.New("portolan: the memory that the limits ask for cannot be had")
	// ErrSystem: the operating system refused.
	ErrSystem = errors.New("portolan: the operating system refused")
	// ErrBusy: another goroutine is inside a call on the handle.
	ErrBusy = errors.New("portolan: another goroutine is inside a call on this handle")
	// ErrPoisoned: a call on the handle failed in an unforeseen way; it can only be closed.
	ErrPoisoned = errors.New("portolan: a call on this handle failed in an unforeseen way: close it")
)

// Error says which object and field a call failed on, and why. It wraps one of the errors above.
type Error struct {
	// Object is what the error is about, such as "Service default/web"; empty if it is an argument.
	Object string
	// Field is the field or argument that is wrong.
	Field string
	// Message is the rule that was broken, with the value.
	Message string

	kind error
}

// Error says it all in one line.
func (e *Error) Error() string {
	text := e.kind.Error()
	for _, part := range []string{e.Object, e.Field, e.Message} {
		if part != "" {
			text = fmt.Sprintf("%s: %s", text, part)
		}
	}
	return text
}

// Unwrap gives the kind of error, for [errors.Is].
func (e *Error) Unwrap() error { return e.kind }

// Rejection is one thing that cannot be served as written: data, not an error. Everything else is served.
type Rejection struct {
	// Object is which object: "Service default/web".
	Object string
	// Field is the path of the field: "spec.ports[0].nodePort"; empty if the whole object is meant.
	Field string
	// Rule is the rule broken, with the value.
	Rule string
}

// String says it all in one line.
func (r Rejection) String() string {
	if r.Field == "" {
		return r.Object + ": " + r.Rule
	}
	return r.Object + ": " + r.Field + ": " + r.Rule
}
