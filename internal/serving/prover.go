package serving

import (
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// prover notes on whose connections requests were authenticated, so that those of strangers make room first.
type prover struct {
	authenticator.Request
	connections *limitedListener
}

// AuthenticateRequest implements authenticator.Request.
func (p prover) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	response, ok, err := p.Request.AuthenticateRequest(r)
	if ok && err == nil {
		p.connections.prove(r.RemoteAddr, standingOf(r, response.User))
	}
	return response, ok, err
}

// standingOf is what a request shows that was authenticated. The aggregation layer asks with a certificate for somebody else than the
// certificate is of.
func standingOf(r *http.Request, who user.Info) standing {
	switch {
	case who.GetName() == user.Anonymous:
		return unproven
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && r.TLS.PeerCertificates[0].Subject.CommonName != who.GetName() && r.Header.Get("Authorization") == "":
		return trusted
	default:
		return known
	}
}
