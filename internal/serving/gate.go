package serving

import (
	"errors"
	"net/http"
	"time"
)

const (
	// maxHeaderBytes bounds the path and the header of a request to the aggregated API. net/http itself stops reading at 1 MiB.
	maxHeaderBytes = 32 << 10
	// tokensInFlight are the requests at a time whose bearer token has to be reviewed. The aggregation layer brings none.
	tokensInFlight = 32
	// requestTimeout ends what hangs, which only a review by the API server can. It is more than one review may take.
	requestTimeout = 15 * time.Second
	// answerTimeout is how long somebody may take to read an answer.
	answerTimeout = 2 * requestTimeout
)

// gate refuses before authentication what no reader sends, and bounds what waits for the API server to say whose token it is.
// What the aggregation layer sends passes it without waiting: it is told by a certificate who asks.
func gate(next http.Handler, connections *limitedListener, metrics *Metrics) http.Handler {
	tooLong, withBody, tooMany := metrics.refuser(limitHeader), metrics.refuser(limitBody), metrics.refuser(limitTokens)
	reviews := make(chan struct{}, tokensInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections.heard(r.RemoteAddr)
		// One that cannot have a deadline is none of net/http's.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout)) //nolint:forbidigo // net compares it with its own
		switch {
		case headerBytes(r) > maxHeaderBytes:
			tooLong()
			refuse(w, http.StatusRequestHeaderFieldsTooLarge, errors.New("the header is too long"))
			return
		case r.ContentLength != 0:
			withBody()
			refuse(w, http.StatusRequestEntityTooLarge, errors.New("requests have no body here"))
			return
		case r.Header.Get("Authorization") != "":
			select {
			case reviews <- struct{}{}:
				defer func() { <-reviews }()
			default:
				tooMany()
				refuse(w, http.StatusTooManyRequests, errors.New("too many tokens are under review"))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// headerBytes is how much a request holds in memory.
func headerBytes(r *http.Request) int {
	bytes := len(r.RequestURI)
	for name, values := range r.Header {
		for _, value := range values {
			bytes += len(name) + len(value)
		}
	}
	return bytes
}
