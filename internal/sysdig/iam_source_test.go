package sysdig

import (
	"net/http"
	"testing"
	"time"

	"k8s.io/utils/clock"
)

// TestATokenThatSomebodyReplacedIsNotExchanged: who looked at the old token before that must not replace the new one. There is no IAM
// here to ask.
func TestATokenThatSomebodyReplacedIsNotExchanged(t *testing.T) {
	s := newTokenSource(&Client{config: Config{Timeout: time.Second}, clock: clock.RealClock{}, secrets: &secrets{}, http: http.DefaultClient}, &credential{})
	now := time.Now()
	s.held = accessToken{text: "new", due: now.Add(time.Hour), expires: now.Add(2 * time.Hour)}
	if got := <-s.exchange(t.Context(), "old", now); got.Val != "new" || got.Err != nil {
		t.Errorf("got %v, %v", got.Val, got.Err)
	}
	if got, err := s.renew(t.Context(), "old"); got != "new" || err != nil {
		t.Errorf("got %s, %v in the place of a token that is no longer held", got, err)
	}
}

// TestAnExchangeThatWasPutOffIsNotMade: IAM has just refused one that was due, and who looked at the token before that must not ask it
// again. There is no IAM here to ask.
func TestAnExchangeThatWasPutOffIsNotMade(t *testing.T) {
	s := newTokenSource(&Client{config: Config{Timeout: time.Second}, clock: clock.RealClock{}, secrets: &secrets{}, http: http.DefaultClient}, &credential{})
	now := time.Now()
	s.held = accessToken{text: "valid", due: now, expires: now.Add(2 * time.Hour)}
	s.postpone(now.Add(time.Hour))
	if got := <-s.exchange(t.Context(), "valid", time.Time{}); got.Val != "valid" || got.Err != nil {
		t.Errorf("got %v, %v", got.Val, got.Err)
	}
}
