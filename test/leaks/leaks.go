// Package leaks fails a package's tests when they leave something behind: a process, or a port that somebody listens on. What is left
// takes the machine from the packages that are tested next, and its ports.
package leaks

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	// patience is how long what was told to end may take. It is long because nothing but a leak waits for its end.
	patience  = time.Minute
	lookEvery = 20 * time.Millisecond
)

// Run runs the tests of a package and returns the exit code. When the tests pass and something is left of them, it says what and
// returns 1. It finds leaks on Linux only.
//
//	func TestMain(m *testing.M) { os.Exit(leaks.Run(m.Run)) }
func Run(tests func() int) (code int) {
	return run(os.Stderr, patience, tests)
}

// RunScene is [Run] for a package that sets a scene around its tests: an error of that is printed, and the code is 1.
func RunScene(tests func() (code int, err error)) (code int) {
	return Run(func() int {
		code, err := tests()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	})
}

func run(log io.Writer, patience time.Duration, tests func() int) (code int) {
	adopt()
	before := left()
	code = tests()
	if code != 0 {
		return code // Tests that failed have left what they could not end.
	}
	var found []string
	for end := time.Now().Add(patience); ; time.Sleep(lookEvery) {
		if found = without(left(), before); len(found) == 0 {
			return 0
		}
		if time.Now().After(end) {
			break
		}
	}
	fmt.Fprintf(log, "the tests have left something behind; end it in a cleanup:\n  %s\n", strings.Join(found, "\n  "))
	return 1
}

// without is what is new.
func without(now, before []string) (found []string) {
	known := map[string]bool{}
	for _, one := range before {
		known[one] = true
	}
	for _, one := range now {
		if !known[one] {
			found = append(found, one)
		}
	}
	return found
}
