package serving

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// KeyPair is the serving certificate in a directory. It is read again when its files have changed; the last one that was whole
// is kept while they do not match.
type KeyPair struct {
	dir string

	mu      sync.Mutex
	changed time.Time // when the files did, as far as they are known
	current *tls.Certificate
}

// NewKeyPair returns the pair in dir, which may come later.
func NewKeyPair(dir string) *KeyPair { return &KeyPair{dir: dir} }

// GetCertificate is that of tls.Config. It fails while there is none.
func (k *KeyPair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	cert, key := filepath.Join(k.dir, CertFile), filepath.Join(k.dir, KeyFile)
	info, err := os.Stat(cert)
	switch {
	case err == nil && k.current != nil && info.ModTime().Equal(k.changed):
		return k.current, nil
	case err == nil:
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(cert, key); err == nil {
			k.changed, k.current = info.ModTime(), &pair
		}
	}
	if k.current == nil {
		return nil, fmt.Errorf("no serving certificate yet: %w", err)
	}
	return k.current, nil
}
