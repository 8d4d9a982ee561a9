package sysdig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// windowSize is how much of an answer is held at a time, in bytes. The longest text that is kept fits in twice.
	windowSize = 32 << 10
	// maxText bounds the texts that are for humans, in bytes as they are written.
	maxText = 16 << 10
	// maxName bounds the names of fields, labels and metrics, in bytes as they are written. Those of Kubernetes, with what Sysdig puts
	// before them, have up to 400.
	maxName = 1 << 10
	// maxNumber bounds numbers, in bytes. A float has at most 24 digits and signs.
	maxNumber = 128
	// maxDepth bounds objects and lists within each other. Answers have 6.
	maxDepth = 32
)

// stream reads one JSON document piece by piece: what is read is gone, and what nobody asks for is never held. It takes what
// encoding/json takes, within the bounds above.
//
// encoding/json cannot do this: its Decoder holds each text, and each value that it skips, as a whole.
type stream struct {
	from io.Reader
	// window is what has come and window[at:] what is not read yet.
	window []byte
	at     int
	depth  int
	// name holds that of a field when the window moves on before it is used.
	name []byte
	// take is told of the memory, in bytes, that what was read takes from now on. Its error ends the reading. Nil takes none.
	take func(bytes int) error
}

func newStream(from io.Reader, take func(bytes int) error) *stream {
	return &stream{from: from, window: make([]byte, 0, windowSize), take: take}
}

// readError is why no more of an answer came.
type readError struct{ error }

// Unwrap returns the cause.
func (e readError) Unwrap() error { return e.error }

var errCut = errors.New("the answer ends too early")

// more reads on, and keeps what is not read yet, which must be less than a window.
func (s *stream) more() error {
	left := copy(s.window[:cap(s.window)], s.window[s.at:])
	s.window, s.at = s.window[:left], 0
	for range 100 { // a reader may return nothing, but not for ever
		n, err := s.from.Read(s.window[left:cap(s.window)])
		s.window = s.window[:left+n]
		switch {
		case n > 0:
			return nil // an error comes again
		case errors.Is(err, io.EOF):
			return errCut
		case err != nil:
			return readError{err}
		}
	}
	return readError{io.ErrNoProgress}
}

// peek is the first byte of what comes next.
func (s *stream) peek() (byte, error) {
	for {
		for ; s.at < len(s.window); s.at++ {
			if c := s.window[s.at]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
				return c, nil
			}
		}
		if err := s.more(); err != nil {
			return 0, err
		}
	}
}

// end expects that nothing follows.
func (s *stream) end() error {
	c, err := s.peek()
	switch {
	case errors.Is(err, errCut):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%q follows the answer", c)
}

// open begins what begins with a byte.
func (s *stream) open(begin byte) error {
	c, err := s.peek()
	switch {
	case err != nil:
		return err
	case c != begin:
		return fmt.Errorf("the answer has %q where %q is expected", c, begin)
	}
	s.at++
	return nil
}

// each calls read for each of what a pair of brackets encloses.
func (s *stream) each(begin, end byte, read func() error) error {
	if err := s.open(begin); err != nil {
		return err
	}
	if s.depth++; s.depth > maxDepth {
		return fmt.Errorf("the answer has more than %d lists and objects within each other", maxDepth)
	}
	c, err := s.peek()
	for first := true; err == nil; first = false {
		switch {
		case c == end:
			s.at++
			s.depth--
			return nil
		case !first && c != ',':
			return fmt.Errorf("the answer has %q where %q or %q is expected", c, ',', end)
		case !first:
			s.at++
		}
		if err = read(); err == nil {
			c, err = s.peek()
		}
	}
	return err
}

// list calls read for each element of a list. read must read it.
func (s *stream) list(read func() error) error { return s.each('[', ']', read) }

// object calls read for each field of an object. read must read its value. The name is nil when it is longer than maxName, and gone
// when more is read.
func (s *stream) object(read func(name []byte) error) error {
	return s.each('{', '}', func() error {
		name, fits, err := s.text(maxName)
		switch {
		case err != nil:
			return err
		case !fits:
			name = nil
		}
		if s.at == len(s.window) || s.window[s.at] != ':' {
			if fits {
				s.name = append(s.name[:0], name...)
				name = s.name
			}
			if err := s.open(':'); err != nil {
				return err
			}
		} else {
			s.at++
		}
		return read(name)
	})
}

// null reads null, if that is next.
func (s *stream) null() (is bool, err error) {
	c, err := s.peek()
	if err != nil || c != 'n' {
		return false, err
	}
	return true, s.word("null")
}

func (s *stream) word(word string) error {
	for i := range len(word) {
		if s.at == len(s.window) {
			if err := s.more(); err != nil {
				return err
			}
		}
		if c := s.window[s.at]; c != word[i] {
			return fmt.Errorf("the answer has %q in the middle of %s", c, word)
		}
		s.at++
	}
	return nil
}

// text reads a text. It is gone when more is read. One that is longer than a limit, in bytes as it is written, does not fit, and is
// read to its end.
func (s *stream) text(limit int) (text []byte, fits bool, err error) {
	if err := s.open('"'); err != nil {
		return nil, false, err
	}
	plain := true
	s.at-- // encoding/json wants the quotes
	for n := 1; n <= limit+1; n++ {
		if s.at+n >= len(s.window) {
			if err := s.more(); err != nil {
				return nil, false, err
			}
		}
		switch c := s.window[s.at+n]; {
		case c == '"':
			raw := s.window[s.at : s.at+n+1]
			s.at += n + 1
			if plain {
				return raw[1 : len(raw)-1], true, nil
			}
			return unescaped(raw)
		case c == '\\':
			plain = false
			if n++; s.at+n >= len(s.window) {
				if err := s.more(); err != nil {
					return nil, false, err
				}
			}
		case c < ' ' || c >= 0x80: // encoding/json knows what these are
			plain = false
		}
	}
	s.at++
	return nil, false, s.skipText()
}

func unescaped(raw []byte) (text []byte, fits bool, err error) {
	var unescaped string
	err = json.Unmarshal(raw, &unescaped)
	return []byte(unescaped), err == nil, err
}

// skipText reads a text whose opening quote was read.
func (s *stream) skipText() error {
	for {
		for s.at < len(s.window) {
			c := s.window[s.at]
			s.at++
			switch {
			case c == '"':
				return nil
			case c < ' ':
				return fmt.Errorf("the answer has %q in a text", c)
			case c == '\\':
				if err := s.skipEscape(); err != nil {
					return err
				}
			}
		}
		if err := s.more(); err != nil {
			return err
		}
	}
}

// skipEscape reads what follows a backslash.
func (s *stream) skipEscape() error {
	allowed, length := `"\/bfnrtu`, 1
	for n := 0; n < length; n++ {
		if s.at == len(s.window) {
			if err := s.more(); err != nil {
				return err
			}
		}
		c := s.window[s.at]
		if strings.IndexByte(allowed, c) < 0 {
			return fmt.Errorf("the answer has %q behind a backslash", c)
		}
		if n == 0 && c == 'u' {
			allowed, length = "0123456789abcdefABCDEF", len("u0000")
		}
		s.at++
	}
	return nil
}

// number reads a number, as it is written. It is gone when more is read.
func (s *stream) number() ([]byte, error) {
	if _, err := s.peek(); err != nil {
		return nil, err
	}
	for n := 0; n <= maxNumber; n++ {
		if s.at+n == len(s.window) {
			if err := s.more(); errors.Is(err, errCut) {
				return s.isNumber(n)
			} else if err != nil {
				return nil, err
			}
		}
		switch c := s.window[s.at+n]; {
		case '0' <= c && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return s.isNumber(n)
		}
	}
	return nil, fmt.Errorf("the answer has a number of more than %d characters", maxNumber)
}

// isNumber reads the next bytes if they are a number.
func (s *stream) isNumber(length int) ([]byte, error) {
	number := s.window[s.at : s.at+length]
	if !plainNumber(number) && !json.Valid(number) {
		if length == 0 && s.at < len(s.window) {
			number = s.window[s.at : s.at+1]
		}
		return nil, fmt.Errorf("the answer has %q where a value is expected", number)
	}
	s.at += length
	return number, nil
}

// plainNumber tells whether a text is one of the numbers that most are.
func plainNumber(text []byte) bool {
	if len(text) == 0 || text[0] == '0' {
		return false
	}
	whole, fraction, pointed := bytes.Cut(text, []byte("."))
	return digits(whole) && (!pointed || digits(fraction))
}

func digits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) > 0
}

// skip reads a value of any kind, and holds none of it.
func (s *stream) skip() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '{':
		return s.object(func([]byte) error { return s.skip() })
	case '[':
		return s.list(s.skip)
	case '"':
		s.at++
		return s.skipText()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, err = s.number()
	return err
}

// words reads a text for humans. null is none, and one that is too long is left out: what a cut would leave of a secret could not be
// recognized.
func (s *stream) words() (string, error) {
	if is, err := s.null(); is || err != nil {
		return "", err
	}
	text, fits, err := s.text(maxText)
	if err == nil && !fits {
		return fmt.Sprintf("(a text of more than %d KiB)", maxText>>10), nil
	}
	return string(text), err
}

// into reads a text for humans.
func (s *stream) into(text *string) func() error {
	return func() (err error) {
		*text, err = s.words()
		return err
	}
}

// shortName reads a name. null is none, and one that is too long is left out: nobody has a use for it.
func (s *stream) shortName(to *string) func() error {
	return func() error {
		if is, err := s.null(); is || err != nil {
			return err
		}
		text, _, err := s.text(maxName)
		*to = string(text)
		return err
	}
}

// numeric reads a number, or a text that holds one.
func (s *stream) numeric() (float64, error) {
	c, err := s.peek()
	if err != nil {
		return 0, err
	}
	if c != '"' {
		number, err := s.number()
		if err != nil {
			return 0, err
		}
		return parseFloat(number)
	}
	text, fits, err := s.text(maxNumber)
	if err == nil && !fits {
		err = fmt.Errorf("a number has more than %d characters", maxNumber)
	}
	if err != nil {
		return 0, err
	}
	return parseFloat(text)
}

// optional reads a number, which null is not.
func (s *stream) optional(to **float64) func() error {
	return func() error {
		if is, err := s.null(); is || err != nil {
			return err
		}
		number, err := s.number()
		if err != nil {
			return err
		}
		value, err := parseFloat(number)
		*to = &value
		return err
	}
}

// field is one of an object, and what reads its value.
type field struct {
	name string
	read func() error
}

// fields reads an object. Fields that are not known are skipped. One that is known and comes twice is refused: it would take memory
// twice, and of two values each reader may take another one.
func (s *stream) fields(known ...field) error {
	var seen uint
	return s.object(func(name []byte) error {
		for i := range known {
			if string(name) != known[i].name {
				continue
			}
			if seen&(1<<i) != 0 {
				return fmt.Errorf("the answer has the field %s twice", name)
			}
			seen |= 1 << i
			return known[i].read()
		}
		return s.skip()
	})
}

// document reads an object that is all there is.
func (s *stream) document(known ...field) error {
	if err := s.fields(known...); err != nil {
		return err
	}
	return s.end()
}

// hold tells of memory that is held from now on.
func (s *stream) hold(bytes int) error {
	if s.take == nil {
		return nil
	}
	return s.take(bytes)
}
