package upgrade_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// certificate is the Secret of the serving certificate.
const certificate = "sysdig-metrics-serving-cert"

// policy writes down who asks for which Secrets.
const policy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  resources: [{resources: [secrets]}]
- level: None
`

// audit is a folder with the API server's audit log.
type audit string

func newAudit(dir string) (audit, error) {
	return audit(dir), os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(policy), 0o600)
}

func (a audit) log() string { return filepath.Join(string(a), "audit.log") }

func (a audit) options() cluster.Options {
	return cluster.Options{ExtraArgs: map[binaries.Component][]string{binaries.APIServer: {
		"--audit-policy-file=" + filepath.Join(string(a), "policy.yaml"), "--audit-log-path=" + a.log(), "--audit-log-mode=blocking",
	}}}
}

// unready is nil when a check of the operator's readiness fails with a text.
func (s *story) unready(ctx context.Context, check, text string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.stage.ReadyURL()+"/"+check, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err == nil && (response.StatusCode != http.StatusInternalServerError || !strings.Contains(string(said), text)) {
		err = fmt.Errorf("HTTP %d: %s", response.StatusCode, said)
	}
	return err
}

// marksTheToken does what the connection says to a user whose Secret is of the first version: it has no type and lists no host.
func (s *story) marksTheToken() {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.stage.Cluster.Dir(), "token"), []byte(token+"\n"), 0o600); err != nil {
		s.Fatal(err)
	}
	if n := len(s.sysdig.Requests()); n != 0 {
		s.Errorf("%d requests were sent with a Secret that nobody marked", n)
	}
	said := s.refusal("Missing")
	s.kubectl("-n", stage.Namespace, "delete", "secret", "sysdig-api")
	for _, command := range regexp.MustCompile(`kubectl [^&]+`).FindAllString(said, -1) {
		command = strings.ReplaceAll(command, "./token", filepath.Join(s.stage.Cluster.Dir(), "token"))
		s.kubectl(strings.Fields(command)[1:]...)
	}
}

// refusal is what the connection says about its credential, when it has a reason.
func (s *story) refusal(reason string) (said string) {
	s.Helper()
	s.eventually("CredentialReady", func(ctx context.Context) error {
		var c v1alpha1.SysdigConnection
		if err := s.stage.Client.Get(ctx, client.ObjectKey{Name: "default"}, &c); err != nil {
			return err
		}
		is := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionCredentialReady)
		if is == nil || is.Reason != reason {
			return fmt.Errorf("it is %+v", is)
		}
		said = is.Message
		return nil
	})
	return said
}

// keepsTheCertificate applies everything once more, in both ways of kubectl.
func (s *story) keepsTheCertificate() {
	s.Helper()
	read := func() (secret corev1.Secret) {
		s.Helper()
		if err := s.stage.Client.Get(s.ctx, client.ObjectKey{Namespace: stage.Namespace, Name: certificate}, &secret); err != nil {
			s.Fatal(err)
		}
		return secret
	}
	before := read()
	manifest := filepath.Join(s.stage.Root, "config/manager/certificate.yaml")
	for way, apply := range map[string]func(){
		"server-side": s.apply,
		"client-side": func() {
			s.kubectl("apply", "-f", manifest)
			s.kubectl("apply", "-f", manifest) // the first one only notes what it has applied
		},
	} {
		apply()
		after := read()
		for _, key := range []string{"ca.crt", "ca.key", "tls.crt", "tls.key"} {
			if len(after.Data[key]) == 0 || !bytes.Equal(after.Data[key], before.Data[key]) {
				s.Errorf("applied %s, %s of the certificate is another", way, key)
			}
		}
	}
}

// looksAtNoOtherSecret reads the audit log: the operator lists and watches Secrets of one type and one by its name, and writes that one.
func (s *story) looksAtNoOtherSecret() {
	s.Helper()
	seen := map[string]bool{}
	for _, event := range s.secretsOf("system:serviceaccount:" + stage.Namespace + ":sysdig-metrics-operator") {
		asked, err := url.Parse(event.RequestURI)
		if err != nil {
			s.Fatal(err)
		}
		seen[strings.TrimSpace(strings.Join([]string{event.Verb, event.ObjectRef.Namespace, event.ObjectRef.Name, asked.Query().Get("fieldSelector")}, " "))] = true
	}
	const byType, byName = "sysdig-metrics  type=sysdigmetrics.dev/token", "sysdig-metrics " + certificate + " metadata.name=" + certificate
	want := map[string]bool{
		"list " + byType: true, "watch " + byType: true, "list " + byName: true, "watch " + byName: true, "update sysdig-metrics " + certificate: true,
	}
	for did := range seen {
		if !want[did] {
			s.Errorf("the operator did %q", did)
		}
	}
	for _, must := range []string{"watch " + byType, "watch " + byName, "update sysdig-metrics " + certificate} {
		if !seen[must] {
			s.Errorf("the log does not say that the operator did %q, so it tells nothing: %v", must, seen)
		}
	}
}

// secretsOf are the requests of a user for Secrets.
func (s *story) secretsOf(user string) (events []auditv1.Event) {
	s.Helper()
	log, err := os.ReadFile(s.audit.log())
	if err != nil {
		s.Fatal(err)
	}
	for line := range bytes.Lines(log) {
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			if !bytes.HasSuffix(line, []byte("\n")) {
				break // being written
			}
			s.Fatal(errors.Join(err, errors.New(string(line))))
		}
		if event.User.Username == user {
			events = append(events, event)
		}
	}
	return events
}
