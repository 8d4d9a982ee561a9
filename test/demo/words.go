package main

import (
	"fmt"
	"path/filepath"
)

// introduction says what is real in the demo.
const introduction = `
The story: flask has 2 pods; the load rises to 800 requests/s, the HPA wants 100 per pod; then the load ends.
Pods are simulated by kwok; the control plane, the HPA and the operator are real; Sysdig is a stand-in fed by a load model.
The first value takes about 50 seconds: half a window would read like half of the load, so it is an error until it has filled.
Until then the HPA complains in an event and leaves the replicas alone.
`

// further says where to go next.
const further = `
Where to go next:
  config/samples          the manifests that were applied: bindings, HPA, and a SysdigConnection for a real Sysdig
  test/e2e                this story, and those of failures, as tests
  make demo KEEP=1        the same, and the cluster stays for you to look around
  README.md               how to install the operator in a cluster of yours
`

// tour is how to use a kept demo.
type tour struct {
	kubeconfig, kubectl, standIn, bundle, dir string
}

// String names commands worth trying.
func (t tour) String() string {
	const curl = `curl --cacert "$CA" -X`
	return fmt.Sprintf(`
The cluster keeps running, for up to 12 hours (then its tokens expire). In your shell:

  export KUBECONFIG='%s'
  export PATH='%s':"$PATH"    # holds a kubectl of this version
  export SYSDIG='%[4]s' CA='%[6]s'

Six commands worth trying:

  # The bindings, and what they serve.
  kubectl get smb
  # What the HPA reads.
  kubectl get --raw "$(kubectl get smb flask-requests -o jsonpath={.status.metricPath})"
  # 400 requests/s: watch the HPA go to 4 replicas.
  %[3]s PUT "$SYSDIG/control/load?rps=400" && kubectl get hpa flask -w
  # Break Sysdig: the last value is served until it is 2 minutes old, then none, and the replicas stay.
  # Mend it with: %[3]s DELETE "$SYSDIG/control/fault"
  %[3]s PUT "$SYSDIG/control/fault?kind=status&status=503"
  # What the operator says of it, to the team that owns flask ...
  kubectl describe smb flask-requests
  # ... and to the team that owns the connection.
  kubectl get sconn default -o yaml

End it:

  %[5]s
`, t.kubeconfig, filepath.Dir(t.kubectl), curl, t.standIn, stopCommand(t.dir), t.bundle)
}

// stopCommand ends the kept demo in a folder.
func stopCommand(dir string) string {
	if standard, err := keptDir(""); err == nil && standard == dir {
		return "go run ./test/demo --stop    (or make demo-stop)"
	}
	return fmt.Sprintf("go run ./test/demo --stop '%s'", dir)
}
