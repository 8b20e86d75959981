package main

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// unchangedChecks: what was made in JSON and is written back in protobuf as it was read stays as it is, so a
// controller that updates without a change wakes nobody.
var unchangedChecks = []check{
	unchanged("deployments", "apps/v1", "Deployment", workload, func(c *clients) store[any] {
		return wrap(c.typed.AppsV1().Deployments(c.namespace))
	}),
	unchanged("statefulsets", "apps/v1", "StatefulSet",
		`{"serviceName":"x","selector":{"matchLabels":{"a":"b"}},"template":`+template+`,"volumeClaimTemplates":[{"metadata":{"name":"d"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}]}`,
		func(c *clients) store[any] { return wrap(c.typed.AppsV1().StatefulSets(c.namespace)) }),
	unchanged("daemonsets", "apps/v1", "DaemonSet", workload, func(c *clients) store[any] {
		return wrap(c.typed.AppsV1().DaemonSets(c.namespace))
	}),
	unchanged("jobs", "batch/v1", "Job",
		`{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}`,
		func(c *clients) store[any] { return wrap(c.typed.BatchV1().Jobs(c.namespace)) }),
	unchanged("cronjobs", "batch/v1", "CronJob",
		`{"schedule":"* * * * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}`,
		func(c *clients) store[any] { return wrap(c.typed.BatchV1().CronJobs(c.namespace)) }),
	unchanged("poddisruptionbudgets", "policy/v1", "PodDisruptionBudget",
		`{"minAvailable":"50%","selector":{"matchLabels":{"a":"b"}}}`,
		func(c *clients) store[any] { return wrap(c.typed.PolicyV1().PodDisruptionBudgets(c.namespace)) }),
	unchanged("horizontalpodautoscalers", "autoscaling/v2", "HorizontalPodAutoscaler",
		`{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"x"},"maxReplicas":3}`,
		func(c *clients) store[any] { return wrap(c.typed.AutoscalingV2().HorizontalPodAutoscalers(c.namespace)) }),
	unchanged("ingresses", "networking.k8s.io/v1", "Ingress",
		`{"rules":[{"host":"x","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"x","port":{"number":80}}}}]}}]}`,
		func(c *clients) store[any] { return wrap(c.typed.NetworkingV1().Ingresses(c.namespace)) }),
	unchanged("services", "v1", "Service", `{"ports":[{"port":80}]}`, func(c *clients) store[any] {
		return wrap(c.typed.CoreV1().Services(c.namespace))
	}),
	unchanged("pods", "v1", "Pod", `{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"100m"}}}]}`,
		func(c *clients) store[any] { return wrap(c.typed.CoreV1().Pods(c.namespace)) }),
}

const template = `{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}`
const workload = `{"selector":{"matchLabels":{"a":"b"}},"template":` + template + `}`

// store reads and writes one kind in protobuf.
type store[T any] struct {
	get    func(context.Context, string) (T, error)
	update func(context.Context, T) (T, error)
}

// wrap forgets a typed client's kind.
func wrap[T any](client interface {
	Get(context.Context, string, metav1.GetOptions) (T, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
}) store[any] {
	return store[any]{
		func(ctx context.Context, name string) (any, error) { return client.Get(ctx, name, metav1.GetOptions{}) },
		func(ctx context.Context, object any) (any, error) {
			return client.Update(ctx, object.(T), metav1.UpdateOptions{})
		},
	}
}

func unchanged(resource, version, kind, spec string, typed func(*clients) store[any]) check {
	return check{"unchanged_" + resource, func(ctx context.Context, c *clients) error {
		group, err := schema.ParseGroupVersion(version)
		if err != nil {
			return err
		}
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": version, "kind": kind, "metadata": map[string]any{"name": "x"}}}
		var fields map[string]any
		if err := json.Unmarshal([]byte(spec), &fields); err != nil {
			return err
		}
		object.Object["spec"] = fields
		untyped := c.dynamic.Resource(group.WithResource(resource)).Namespace(c.namespace)
		made, err := untyped.Create(ctx, object, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		protobuf := typed(c)
		read, err := protobuf.get(ctx, "x")
		if err != nil {
			return err
		}
		if _, err := protobuf.update(ctx, read); err != nil {
			return err
		}
		after, err := untyped.Get(ctx, "x", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if made.GetResourceVersion() != after.GetResourceVersion() || made.GetGeneration() != after.GetGeneration() {
			before, _ := json.Marshal(made)
			now, _ := json.Marshal(after)
			return fmt.Errorf("it was written anew:\n%s\n%s", before, now)
		}
		return nil
	}}
}
