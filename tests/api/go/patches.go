package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/util/retry"
)

var patchChecks = []check{
	{"patch_types", patchTypes},
	{"retry_on_conflict", retryOnConflict},
}

var applyChecks = []check{
	{"apply_owns", applyOwns},
	{"apply_extract", applyExtract},
	{"apply_status", applyStatus},
}

func patchTypes(ctx context.Context, c *clients) error {
	deployments := c.typed.AppsV1().Deployments(c.namespace)
	if _, err := deployments.Create(ctx, deployment("web"), metav1.CreateOptions{}); err != nil {
		return err
	}
	patches := []struct {
		kind types.PatchType
		body string
	}{
		{types.JSONPatchType, `[{"op":"test","path":"/spec/replicas","value":1},{"op":"replace","path":"/spec/replicas","value":2}]`},
		{types.MergePatchType, `{"metadata":{"labels":{"a":"b"}},"spec":{"paused":true}}`},
		{types.StrategicMergePatchType, `{"spec":{"paused":null,"template":{"spec":{"containers":[{"name":"side","image":"registry.example/s:1"}]}}}}`},
	}
	for _, patch := range patches {
		if _, err := deployments.Patch(ctx, "web", patch.kind, []byte(patch.body), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("%s: %w", patch.kind, err)
		}
	}
	read, err := deployments.Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if *read.Spec.Replicas != 2 || read.Labels["a"] != "b" || read.Spec.Paused || len(read.Spec.Template.Spec.Containers) != 2 {
		return fmt.Errorf("%+v", read)
	}
	_, err = deployments.Patch(ctx, "web", types.JSONPatchType, []byte(`[{"op":"test","path":"/spec/replicas","value":9}]`), metav1.PatchOptions{})
	return expect(apierrors.IsInvalid(err), "a test that fails: %v", err)
}

func retryOnConflict(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	if _, err := maps.Create(ctx, configMap("count"), metav1.CreateOptions{}); err != nil {
		return err
	}
	const writers = 8
	done := make(chan error, writers)
	for i := range writers {
		go func() {
			backoff := retry.DefaultBackoff
			backoff.Steps = 50
			done <- retry.RetryOnConflict(backoff, func() error {
				read, err := maps.Get(ctx, "count", metav1.GetOptions{})
				if err != nil {
					return err
				}
				read.Data[fmt.Sprint("writer", i)] = "was here"
				_, err = maps.Update(ctx, read, metav1.UpdateOptions{})
				return err
			})
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			return err
		}
	}
	read, err := maps.Get(ctx, "count", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return expect(len(read.Data) == writers+1, "%v", read.Data)
}

func applyOwns(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	mine := applycore.ConfigMap("a", c.namespace).WithData(map[string]string{"k": "mine"})
	made, err := maps.Apply(ctx, mine, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	again, err := maps.Apply(ctx, mine, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	if again.ResourceVersion != made.ResourceVersion {
		return fmt.Errorf("applied twice: version %s became %s", made.ResourceVersion, again.ResourceVersion)
	}
	theirs := applycore.ConfigMap("a", c.namespace).WithData(map[string]string{"k": "theirs"})
	if _, err = maps.Apply(ctx, theirs, metav1.ApplyOptions{FieldManager: "two"}); !apierrors.IsConflict(err) {
		return fmt.Errorf("another owner's field: %v", err)
	}
	if _, err = maps.Apply(ctx, theirs, metav1.ApplyOptions{FieldManager: "two", Force: true}); err != nil {
		return err
	}
	emptied, err := maps.Apply(ctx, applycore.ConfigMap("a", c.namespace), metav1.ApplyOptions{FieldManager: "two"})
	if err != nil {
		return err
	}
	return expect(len(emptied.Data) == 0, "a field without owner stays: %v", emptied.Data)
}

func applyExtract(ctx context.Context, c *clients) error {
	deployments := c.typed.AppsV1().Deployments(c.namespace)
	labels := map[string]string{"app": "web"}
	config := applyapps.Deployment("web", c.namespace).WithSpec(applyapps.DeploymentSpec().
		WithReplicas(2).WithSelector(applymeta.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(applycore.PodTemplateSpec().WithLabels(labels).WithSpec(applycore.PodSpec().
			WithContainers(applycore.Container().WithName("c").WithImage("registry.example/c:1")))))
	made, err := deployments.Apply(ctx, config, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	extracted, err := applyapps.ExtractDeployment(made, "one")
	if err != nil {
		return err
	}
	if *extracted.Spec.Replicas != 2 || extracted.Spec.Strategy != nil || *extracted.Spec.Template.Spec.Containers[0].Image != "registry.example/c:1" {
		return fmt.Errorf("extracted %+v", extracted.Spec)
	}
	extracted.Spec.Template.Spec.WithContainers(applycore.Container().WithName("side").WithImage("registry.example/s:1"))
	extended, err := deployments.Apply(ctx, extracted, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	return expect(len(extended.Spec.Template.Spec.Containers) == 2, "%+v", extended.Spec.Template.Spec.Containers)
}

func applyStatus(ctx context.Context, c *clients) error {
	nodes := c.typed.CoreV1().Nodes()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-" + c.namespace}}
	if _, err := nodes.Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return err
	}
	status := applycore.Node(node.Name).WithStatus(applycore.NodeStatus().WithConditions(
		applycore.NodeCondition().WithType("Ready").WithStatus("True").WithReason("Test").WithMessage("m")))
	applied, err := nodes.ApplyStatus(ctx, status, metav1.ApplyOptions{FieldManager: "kubelet"})
	if err != nil {
		return err
	}
	for _, entry := range applied.ManagedFields {
		if entry.Manager == "kubelet" && entry.Subresource == "status" && entry.Operation == "Apply" {
			return expect(len(applied.Status.Conditions) == 1, "%+v", applied.Status)
		}
	}
	return fmt.Errorf("managers: %+v", applied.ManagedFields)
}
