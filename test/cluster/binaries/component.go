// Package binaries builds the programs of the tests' control plane, and those of a node, from Go modules: once per version, into the
// user's cache folder.
package binaries

import (
	"path/filepath"
)

// Component names one program. It is also the name of its executable and of its log file.
type Component string

// The programs of the control plane.
const (
	Etcd              Component = "etcd"
	APIServer         Component = "kube-apiserver"
	ControllerManager Component = "kube-controller-manager"
	Scheduler         Component = "kube-scheduler"
	Kubectl           Component = "kubectl"
	Kwok              Component = "kwok"
)

// The programs of a node that runs pods. containerd finds runc and the CNI plugins on the machine.
const (
	Kubelet        Component = "kubelet"
	KubeProxy      Component = "kube-proxy"
	Containerd     Component = "containerd"
	ContainerdShim Component = "containerd-shim-runc-v2"
	Ctr            Component = "ctr"
)

// Folder holds the executables of components, and kwok's stages.
type Folder struct {
	dir string
}

// Dir returns the folder's absolute path.
func (f Folder) Dir() string { return f.dir }

// Path returns the absolute path of a component's executable.
func (f Folder) Path(c Component) string { return filepath.Join(f.dir, string(c)) }

// Stages returns the absolute path of the kwok configuration that makes nodes Ready and pods Running.
func (f Folder) Stages() string { return filepath.Join(f.dir, "kwok-stages.yaml") }
