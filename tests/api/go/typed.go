package main

import (
	"context"
	"fmt"
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

var typedChecks = []check{
	{"pod_crud", podCrud},
	{"update_conflict", updateConflict},
	{"errors_have_reasons", errorsHaveReasons},
	{"deployment_scale", deploymentScale},
	{"workload_defaults", workloadDefaults},
	{"service_addresses", serviceAddresses},
	{"secrets_carry_bytes", secretsCarryBytes},
	{"quantities_and_times", quantitiesAndTimes},
	{"list_in_pages", listInPages},
	{"delete_collection", deleteCollection},
	{"eviction", eviction},
	{"binding", binding},
	{"dry_run", dryRun},
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: "registry.example/c:1",
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("100m")}},
		}}},
	}
}

func podCrud(ctx context.Context, c *clients) error {
	pods := c.typed.CoreV1().Pods(c.namespace)
	made, err := pods.Create(ctx, pod("a"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if made.UID == "" || made.Spec.RestartPolicy != "Always" || made.Status.Phase != "Pending" || made.Status.QOSClass != "Burstable" {
		return fmt.Errorf("defaults are missing: %+v", made)
	}
	read, err := pods.Get(ctx, "a", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(made, read) {
		return fmt.Errorf("created %+v, read %+v", made, read)
	}
	read.Labels["tier"] = "web"
	if read, err = pods.Update(ctx, read, metav1.UpdateOptions{}); err != nil {
		return err
	}
	read.Status.Phase = "Running"
	read.Status.Conditions = []corev1.PodCondition{{Type: "Ready", Status: "True"}}
	if read, err = pods.UpdateStatus(ctx, read, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if read.Status.Phase != "Running" || read.Labels["tier"] != "web" {
		return fmt.Errorf("updates are lost: %+v", read)
	}
	listed, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "tier in (web,db),app", FieldSelector: "status.phase=Running"})
	if err != nil {
		return err
	}
	if len(listed.Items) != 1 || !reflect.DeepEqual(&listed.Items[0], read) {
		return fmt.Errorf("listed %+v", listed.Items)
	}
	if err := pods.Delete(ctx, "a", metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}); err != nil {
		return err
	}
	_, err = pods.Get(ctx, "a", metav1.GetOptions{})
	return expect(apierrors.IsNotFound(err), "after deletion: %v", err)
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"k": "v"}}
}

func updateConflict(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	first, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	second := first.DeepCopy()
	first.Data["k"] = "1"
	if _, err := maps.Update(ctx, first, metav1.UpdateOptions{}); err != nil {
		return err
	}
	second.Data["k"] = "2"
	if _, err = maps.Update(ctx, second, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		return fmt.Errorf("an old version: %v", err)
	}
	second.ResourceVersion = ""
	second, err = maps.Update(ctx, second, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("without a version: %w", err)
	}
	err = maps.Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(second.UID + "x")}})
	return expect(apierrors.IsConflict(err), "a wrong uid: %v", err)
}

func errorsHaveReasons(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	return all(
		func() error {
			_, err := maps.Get(ctx, "none", metav1.GetOptions{})
			return expect(apierrors.IsNotFound(err) && err.Error() == `configmaps "none" not found`, "%v", err)
		},
		func() error {
			if _, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{}); err != nil {
				return err
			}
			_, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
			return expect(apierrors.IsAlreadyExists(err), "%v", err)
		},
		func() error {
			_, err := maps.Create(ctx, configMap("Not-A-Name"), metav1.CreateOptions{})
			return expect(apierrors.IsInvalid(err) && apierrors.HasStatusCause(err, metav1.CauseTypeFieldValueInvalid), "%v", err)
		},
		func() error {
			_, err := maps.List(ctx, metav1.ListOptions{ResourceVersion: "1", ResourceVersionMatch: "Exact"})
			return expect(apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || err == nil, "%v", err)
		},
		func() error {
			_, err := maps.List(ctx, metav1.ListOptions{Continue: "nonsense"})
			return expect(apierrors.IsBadRequest(err), "%v", err)
		},
		func() error {
			_, err := c.typed.CoreV1().ConfigMaps("no-such-namespace").Create(ctx, configMap("a"), metav1.CreateOptions{})
			return expect(apierrors.IsNotFound(err), "%v", err)
		},
	)
}

func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.example/c:1"}}},
			},
		},
	}
}

func deploymentScale(ctx context.Context, c *clients) error {
	deployments := c.typed.AppsV1().Deployments(c.namespace)
	made, err := deployments.Create(ctx, deployment("web"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	scale, err := deployments.GetScale(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if scale.Spec.Replicas != 1 || scale.Status.Selector != "app=web" {
		return fmt.Errorf("scale is %+v", scale)
	}
	scale.Spec.Replicas = 5
	if _, err = deployments.UpdateScale(ctx, "web", scale, metav1.UpdateOptions{}); err != nil {
		return err
	}
	read, err := deployments.Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return expect(*read.Spec.Replicas == 5 && read.Generation == made.Generation+1, "%d replicas, generation %d", *read.Spec.Replicas, read.Generation)
}

func workloadDefaults(ctx context.Context, c *clients) error {
	made, err := c.typed.AppsV1().Deployments(c.namespace).Create(ctx, deployment("web"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	spec := made.Spec
	if *spec.Replicas != 1 || *spec.RevisionHistoryLimit != 10 || *spec.ProgressDeadlineSeconds != 600 ||
		spec.Strategy.Type != "RollingUpdate" || *spec.Strategy.RollingUpdate.MaxSurge != intstr.FromString("25%") {
		return fmt.Errorf("deployment: %+v", spec)
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"}, Spec: batchv1.JobSpec{Template: deployment("j").Spec.Template}}
	job.Spec.Template.Spec.RestartPolicy = "Never"
	ran, err := c.typed.BatchV1().Jobs(c.namespace).Create(ctx, job, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return expect(*ran.Spec.BackoffLimit == 6 && *ran.Spec.CompletionMode == "NonIndexed" && len(ran.Name) == len("job-")+5 &&
		ran.Spec.Selector.MatchLabels["batch.kubernetes.io/controller-uid"] == string(ran.UID), "job: %+v", ran)
}

func serviceAddresses(ctx context.Context, c *clients) error {
	services := c.typed.CoreV1().Services(c.namespace)
	made, err := services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Type: "NodePort", Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	port := made.Spec.Ports[0]
	if made.Spec.ClusterIP == "" || port.NodePort < 30000 || port.TargetPort != intstr.FromInt32(80) || port.Protocol != "TCP" {
		return fmt.Errorf("%+v", made.Spec)
	}
	_, err = services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "same"},
		Spec:       corev1.ServiceSpec{ClusterIP: made.Spec.ClusterIP, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	return expect(apierrors.IsInvalid(err), "an address twice: %v", err)
}

func secretsCarryBytes(ctx context.Context, c *clients) error {
	secrets := c.typed.CoreV1().Secrets(c.namespace)
	blob := make([]byte, 256)
	for i := range blob {
		blob[i] = byte(i)
	}
	made, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"blob": blob}, StringData: map[string]string{"text": "x"},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return expect(reflect.DeepEqual(made.Data["blob"], blob) && string(made.Data["text"]) == "x" && made.Type == "Opaque", "%+v", made)
}

func quantitiesAndTimes(ctx context.Context, c *clients) error {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "claim"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1.5Gi")}},
		},
	}
	made, err := c.typed.CoreV1().PersistentVolumeClaims(c.namespace).Create(ctx, claim, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	storage := made.Spec.Resources.Requests["storage"]
	return expect(storage.Cmp(resource.MustParse("1536Mi")) == 0 && !made.CreationTimestamp.IsZero() && *made.Spec.VolumeMode == "Filesystem", "%+v", made)
}

func listInPages(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	for i := range 25 {
		if _, err := maps.Create(ctx, configMap(fmt.Sprintf("m%02d", i)), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	var names []string
	options := metav1.ListOptions{Limit: 10}
	version := ""
	for {
		page, err := maps.List(ctx, options)
		if err != nil {
			return err
		}
		if version == "" {
			version = page.ResourceVersion
			if page.RemainingItemCount == nil || *page.RemainingItemCount != 15 {
				return fmt.Errorf("remaining: %v", page.RemainingItemCount)
			}
			// What comes between is not seen.
			if _, err := maps.Create(ctx, configMap("m99"), metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		if page.ResourceVersion != version {
			return fmt.Errorf("version %s after %s", page.ResourceVersion, version)
		}
		for _, item := range page.Items {
			names = append(names, item.Name)
		}
		if page.Continue == "" {
			break
		}
		options.Continue = page.Continue
	}
	return expect(len(names) == 25 && names[0] == "m00" && names[24] == "m24", "%v", names)
}

func deleteCollection(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	for _, name := range []string{"a", "b", "keep"} {
		made := configMap(name)
		made.Labels = map[string]string{"keep": fmt.Sprint(name == "keep")}
		if _, err := maps.Create(ctx, made, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if err := maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "keep=false"}); err != nil {
		return err
	}
	left, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	return expect(len(left.Items) == 1 && left.Items[0].Name == "keep", "%+v", left.Items)
}

func eviction(ctx context.Context, c *clients) error {
	pods := c.typed.CoreV1().Pods(c.namespace)
	if _, err := pods.Create(ctx, pod("a"), metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "a"}}); err != nil {
		return err
	}
	_, err := pods.Get(ctx, "a", metav1.GetOptions{})
	return expect(apierrors.IsNotFound(err), "%v", err)
}

func binding(ctx context.Context, c *clients) error {
	pods := c.typed.CoreV1().Pods(c.namespace)
	if _, err := pods.Create(ctx, pod("a"), metav1.CreateOptions{}); err != nil {
		return err
	}
	bind := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
	if err := pods.Bind(ctx, bind, metav1.CreateOptions{}); err != nil {
		return err
	}
	bound, err := pods.Get(ctx, "a", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if bound.Spec.NodeName != "n1" || len(bound.Status.Conditions) == 0 || bound.Status.Conditions[0].Type != "PodScheduled" {
		return fmt.Errorf("%+v", bound)
	}
	err = pods.Bind(ctx, bind, metav1.CreateOptions{})
	return expect(apierrors.IsConflict(err), "twice: %v", err)
}

func dryRun(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	made, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{DryRun: []string{"All"}})
	if err != nil {
		return err
	}
	if made.UID == "" {
		return fmt.Errorf("no uid")
	}
	if _, err = maps.Get(ctx, "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("it was stored: %v", err)
	}
	autoscaler := &autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "h"},
		Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv1.CrossVersionObjectReference{Kind: "Deployment", Name: "web", APIVersion: "apps/v1"},
			MaxReplicas:    3, TargetCPUUtilizationPercentage: ptr.To[int32](50),
		},
	}
	scaler, err := c.typed.AutoscalingV1().HorizontalPodAutoscalers(c.namespace).Create(ctx, autoscaler, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	newer, err := c.typed.AutoscalingV2().HorizontalPodAutoscalers(c.namespace).Get(ctx, scaler.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return expect(len(newer.Spec.Metrics) == 1 && *newer.Spec.Metrics[0].Resource.Target.AverageUtilization == 50, "v2 of v1: %+v", newer.Spec)
}
