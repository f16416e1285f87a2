import { expect, test } from 'vitest'
import { loadOrder, parseDependencies } from './modules.ts'

const index = parseDependencies(
  [
    'kernel/net/nft_ct.ko.xz: kernel/net/nf_conntrack.ko.xz kernel/net/nf_tables.ko.xz kernel/lib/libcrc.ko.xz',
    'kernel/net/nf_conntrack.ko.xz: kernel/lib/libcrc.ko.xz',
    'kernel/net/nf_tables.ko.xz: kernel/lib/libcrc.ko.xz',
    'kernel/lib/libcrc.ko.xz:',
    'kernel/drivers/virtio-rng.ko:',
    '',
  ].join('\n'),
)

test('each module comes after what it needs, none twice', () => {
  expect(loadOrder(index, new Set(), ['nft_ct', 'nf_conntrack', 'nf_tables'])).toEqual([
    'kernel/lib/libcrc.ko.xz',
    'kernel/net/nf_tables.ko.xz',
    'kernel/net/nf_conntrack.ko.xz',
    'kernel/net/nft_ct.ko.xz',
  ])
})

test('a dash in the name of a file is an underscore in the name of a module', () => {
  expect(loadOrder(index, new Set(), ['virtio_rng'])).toEqual(['kernel/drivers/virtio-rng.ko'])
})

test('what is built in needs no file, what is unknown is named', () => {
  expect(loadOrder(index, new Set(['fuse']), ['fuse'])).toEqual([])
  expect(() => loadOrder(index, new Set(['fuse']), ['overlay'])).toThrow('the kernel has no module overlay')
})
