package pods

import (
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/labelled"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// appsVersion is that of the kinds that own pods and that Sysdig names. Others have kinds of the same names.
const appsVersion = "apps/v1"

// Strip keeps of a pod what the operator looks at: name, labels, phase, addresses, which workload controls it, since when it is
// ready, and whether it is about to end. It is the transform of the Pod informer, so that a large cluster's pods stay small in memory.
func Strip(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	stripped := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			DeletionTimestamp: pod.DeletionTimestamp, OwnerReferences: stripOwner(pod),
		},
		Status: stripStatus(pod),
	}
	labelled.Strip(&stripped.ObjectMeta, pod)
	return stripped, nil
}

// stripStatus keeps one address of each kind, and lists of several where there are two families of addresses.
func stripStatus(pod *corev1.Pod) corev1.PodStatus {
	full := &pod.Status
	status := corev1.PodStatus{
		Phase: full.Phase, Conditions: stripReady(pod), PodIP: full.PodIP, HostIP: unique.Make(full.HostIP).Value(),
	}
	if len(full.PodIPs) > 1 {
		status.PodIPs = full.PodIPs
	}
	if len(full.HostIPs) > 1 {
		for _, of := range full.HostIPs {
			status.HostIPs = append(status.HostIPs, corev1.HostIP{IP: unique.Make(of.IP).Value()})
		}
	}
	return status
}

func stripOwner(pod *corev1.Pod) []metav1.OwnerReference {
	of := metav1.GetControllerOfNoCopy(pod)
	if of == nil || of.APIVersion != appsVersion {
		return nil
	}
	return []metav1.OwnerReference{{
		APIVersion: appsVersion, Kind: unique.Make(of.Kind).Value(), Name: unique.Make(of.Name).Value(), Controller: of.Controller,
	}}
}

func stripReady(pod *corev1.Pod) []corev1.PodCondition {
	ready := readiness(pod)
	if ready == nil {
		return nil
	}
	return []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: ready.LastTransitionTime}}
}

// readiness is the condition of a ready pod; nil when it is not ready.
func readiness(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// readySince is since when a pod has been ready, in Unix seconds, by the clock of its node; 0 when it is not, or is about to end.
func readySince(pod *corev1.Pod) int64 {
	ready := readiness(pod)
	if pod.DeletionTimestamp != nil || ready == nil || ready.LastTransitionTime.IsZero() {
		return 0
	}
	return ready.LastTransitionTime.Unix()
}

// ownerOf is the workload of a pod. A ReplicaSet that a Deployment has made is called like that and the hash of its pods'
// template, which is a label of the pods.
func ownerOf(pod *corev1.Pod) metric.Workload {
	of := metav1.GetControllerOfNoCopy(pod)
	if of == nil || of.APIVersion != appsVersion {
		return metric.Workload{}
	}
	switch of.Kind {
	case "StatefulSet":
		return metric.Workload{Type: "statefulset", Name: of.Name}
	case "DaemonSet":
		return metric.Workload{Type: "daemonset", Name: of.Name}
	case "ReplicaSet":
		hash := pod.Labels["pod-template-hash"]
		deployment, made := strings.CutSuffix(of.Name, "-"+hash)
		if hash != "" && made {
			return metric.Workload{Type: "deployment", Name: deployment}
		}
	}
	return metric.Workload{}
}
