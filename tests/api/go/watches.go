package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/utils/ptr"
)

var watchChecks = []check{
	{"watch_events", watchEvents},
	{"watch_selector_transitions", watchSelectorTransitions},
	{"watch_list", watchList},
	{"watch_until", watchUntil},
}

var informerChecks = []check{
	{"informer_follows", informerFollows},
	{"metadata_informer", metadataInformer},
}

// next is the next event that is no bookmark, as "TYPE name".
func next(ctx context.Context, events watch.Interface) (string, error) {
	for {
		select {
		case event, open := <-events.ResultChan():
			if !open {
				return "", fmt.Errorf("the watch ended")
			}
			if event.Type == watch.Bookmark {
				continue
			}
			object, err := meta.Accessor(event.Object)
			if err != nil {
				return "", fmt.Errorf("%s %+v", event.Type, event.Object)
			}
			return fmt.Sprintf("%s %s", event.Type, object.GetName()), nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func expectEvents(ctx context.Context, events watch.Interface, want ...string) error {
	for _, want := range want {
		got, err := next(ctx, events)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", want, err)
		}
		if got != want {
			return fmt.Errorf("%s instead of %s", got, want)
		}
	}
	return nil
}

func watchEvents(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	list, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	events, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion, AllowWatchBookmarks: true})
	if err != nil {
		return err
	}
	defer events.Stop()
	made, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Data["k"] = "w"
	if _, err := maps.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := maps.Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return expectEvents(ctx, events, "ADDED a", "MODIFIED a", "DELETED a")
}

func watchSelectorTransitions(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	list, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	events, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion, LabelSelector: "seen=yes"})
	if err != nil {
		return err
	}
	defer events.Stop()
	made, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for _, seen := range []string{"yes", "yes", "no"} {
		made.Labels = map[string]string{"seen": seen}
		made.Data["k"] += "."
		if made, err = maps.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return expectEvents(ctx, events, "ADDED a", "MODIFIED a", "DELETED a")
}

func watchList(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	for _, name := range []string{"a", "b"} {
		if _, err := maps.Create(ctx, configMap(name), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	events, err := maps.Watch(ctx, metav1.ListOptions{
		SendInitialEvents: ptr.To(true), ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true,
	})
	if err != nil {
		return err
	}
	defer events.Stop()
	if err := expectEvents(ctx, events, "ADDED a", "ADDED b"); err != nil {
		return err
	}
	select {
	case event := <-events.ResultChan():
		object, ok := event.Object.(*corev1.ConfigMap)
		return expect(ok && event.Type == watch.Bookmark && object.Annotations[metav1.InitialEventsAnnotationKey] == "true", "%+v", event)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func watchUntil(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	if _, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{}); err != nil {
		return err
	}
	only := fields.OneTermEqualSelector("metadata.name", "a").String()
	lw := &cache.ListWatch{
		ListFunc: func(options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = only
			return maps.List(ctx, options)
		},
		WatchFunc: func(options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = only
			return maps.Watch(ctx, options)
		},
	}
	synced := func(store cache.Store) (bool, error) {
		if len(store.List()) != 1 {
			return true, fmt.Errorf("synced: %v", store.List())
		}
		return false, maps.Delete(ctx, "a", metav1.DeleteOptions{})
	}
	last, err := watchtools.UntilWithSync(ctx, lw, &corev1.ConfigMap{}, synced, func(event watch.Event) (bool, error) {
		return event.Type == watch.Deleted, nil
	})
	if err != nil {
		return err
	}
	return expect(last.Type == watch.Deleted, "%+v", last)
}

func informerFollows(ctx context.Context, c *clients) error {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	for i := range 20 {
		if _, err := maps.Create(ctx, configMap(fmt.Sprintf("m%02d", i)), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	factory := informers.NewSharedInformerFactoryWithOptions(c.typed, time.Minute, informers.WithNamespace(c.namespace))
	informer := factory.Core().V1().ConfigMaps()
	seen := make(chan string, 100)
	_, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { seen <- "add " + o.(*corev1.ConfigMap).Name },
		UpdateFunc: func(_, o any) { seen <- "update " + o.(*corev1.ConfigMap).Data["k"] },
		DeleteFunc: func(o any) { seen <- "delete" },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("%s has not synced", kind)
		}
	}
	await := func(want string) error {
		for {
			select {
			case got := <-seen:
				if got == want {
					return nil
				}
			case <-ctx.Done():
				return fmt.Errorf("%s was not seen", want)
			}
		}
	}
	if err := await("add m19"); err != nil {
		return err
	}
	read, err := maps.Get(ctx, "m00", metav1.GetOptions{})
	if err != nil {
		return err
	}
	read.Data["k"] = "new"
	if _, err := maps.Update(ctx, read, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := await("update new"); err != nil {
		return err
	}
	if err := maps.Delete(ctx, "m00", metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := await("delete"); err != nil {
		return err
	}
	_, err = informer.Lister().ConfigMaps(c.namespace).Get("m19")
	return err
}

func metadataInformer(ctx context.Context, c *clients) error {
	if _, err := c.typed.CoreV1().ConfigMaps(c.namespace).Create(ctx, configMap("a"), metav1.CreateOptions{}); err != nil {
		return err
	}
	client, err := metadata.NewForConfig(c.config)
	if err != nil {
		return err
	}
	factory := metadatainformer.NewFilteredSharedInformerFactory(client, 0, c.namespace, nil)
	lister := factory.ForResource(corev1.SchemeGroupVersion.WithResource("configmaps"))
	lister.Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	_, err = lister.Lister().ByNamespace(c.namespace).Get("a")
	return err
}
