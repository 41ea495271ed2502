/** The pages, by the first part of their address: one line for each. */
import type { Component } from "svelte";
import Cluster from "../pages/Cluster.svelte";
import Configuration from "../pages/Configuration.svelte";
import Doctor from "../pages/Doctor.svelte";
import Nodes from "../pages/Nodes.svelte";
import Storage from "../pages/Storage.svelte";
import { texts } from "./texts";

export interface Page {
  title: string;
  component: Component;
}

export const pages: Record<string, Page> = {
  cluster: { title: texts.nav.cluster, component: Cluster },
  configuration: { title: texts.nav.configuration, component: Configuration },
  nodes: { title: texts.nav.nodes, component: Nodes },
  storage: { title: texts.nav.storage, component: Storage },
  doctor: { title: texts.nav.doctor, component: Doctor },
};
