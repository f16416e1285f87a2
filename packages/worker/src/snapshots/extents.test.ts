import { describe, expect, it } from 'vitest'
import { parseExtents } from './extents.ts'

const HEAD = `Filesystem type is: ef53
File size of /x is 21474836480 (5242880 blocks of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
`

describe('what filefrag prints', () => {
  it('names the chunks that extents touch, unwritten ones too', () => {
    const text = `${HEAD}   0:        0..      31:    3098624..   3098655:     32:            
   1:      511..     512:    3100672..   3100673:      2:    4409344: unwritten
   2:  5242848.. 5242879:    3106784..   3106815:     32:    4413408: last,eof
/x: 3 extents found
`
    expect(parseExtents(text, 21_474_836_480)).toEqual([0, 1, 10_239])
  })

  it('is nothing for a file of holes', () => {
    expect(parseExtents(`${HEAD}/x: 0 extents found\n`, 4096)).toEqual([])
  })

  it('leaves out what is allocated past the end', () => {
    expect(
      parseExtents(`${HEAD}   0:        0..    1535:  1.. 1536:  1536:  last\n/x: 1 extent found\n`, 2_097_153),
    ).toEqual([0, 1])
  })

  it('is refused where it is of another form', () => {
    expect(() => parseExtents(`${HEAD}/x: 2 extents found\n`, 4096)).toThrow('unexpected')
    expect(() => parseExtents('', 4096)).toThrow('unexpected')
  })
})
