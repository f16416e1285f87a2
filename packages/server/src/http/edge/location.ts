/** Where a sandbox is, as far as the edge needs to know. Asked for anew for each request: a kill cuts the route at once. */
export type Location =
  | {
      readonly at: 'running'
      readonly teamID: string
      /** Each port of this address is the guest's. */
      readonly address: string
      /** Names the machine: connections to another one are of no use. */
      readonly machine: string
    }
  /** Being created, paused or resumed: come again. */
  | { readonly at: 'moving' }
  /** Not there, ended, or paused. */
  | { readonly at: 'absent' }
